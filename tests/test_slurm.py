"""The job array of docs/scaling.md on a Slurm cluster: the files of one command, also if jobs are killed."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from slurm import RequeuedJobs, cluster, missing, output_of, wait

from smollm3_mix.output import output_layout
from smollm3_mix.output.write_mix import write
from smollm3_mix.storage import atomic_files

pytestmark = [
    pytest.mark.skipif(bool(missing()), reason=f"Slurm is not installed here: no {', '.join(missing())}"),
    pytest.mark.skipif("SMOLLM3_MIX_SLURM" not in os.environ, reason="starts a Slurm: set SMOLLM3_MIX_SLURM=1"),
]

PAGE = Path(__file__).parent.parent / "docs/scaling.md"
SMALLER = {"--array=0-15": "--array=0-1", "--cpus-per-task=4": "--cpus-per-task=2", "lanes=64 each=4": "lanes=4 each=2"}


def scripts():
    """Return the script of the page and the commands that submit it, changed to a smaller array."""
    section = PAGE.read_text(encoding="utf-8").split("## Job arrays (Slurm)")[1].split("\n## ")[0]
    array, submit = re.findall(r"```bash\n(.*?)```", section, re.DOTALL)
    for large, small in SMALLER.items():
        assert array.count(large) == 1
        array = array.replace(large, small)
    return array, submit


def content(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_job_array_gives_the_files_of_one_command_when_jobs_are_killed(recipe_file, tmp_path):
    path = recipe_file("mine.smollm3_mix", lanes=4, holdout={"fraction": 0.1, "tokens": 500}, dedup={"near": True})
    write(path, tmp_path / "one")
    programs = tmp_path / "venv/bin"
    programs.mkdir(parents=True)
    (programs / "activate").write_text('PATH="$PWD/venv/bin:$PATH"\n')
    (programs / "smollm3-mix").write_text(
        f'#!/bin/sh\necho $$ > pid-$SLURM_ARRAY_TASK_ID\nexec {sys.executable} -m smollm3_mix "$@"\n'
    )
    (programs / "smollm3-mix").chmod(0o755)
    array, submit = scripts()
    (tmp_path / "array.sbatch").write_text(array)
    work, mix = tmp_path / "mix" / atomic_files.WORK_FOLDER, tmp_path / "mix"
    with cluster() as env:
        run = {"cwd": tmp_path, "env": env, "check": True, "capture_output": True, "text": True}
        submitted = subprocess.run(["bash", "-euc", f"{submit}\necho $array"], **run)  # noqa: PLW1510 - in `run`
        job = submitted.stdout.split()[-1]
        wait(lambda: work.exists() and (tmp_path / "pid-1").exists(), "no job has started to write")
        output_of(env, "scontrol", "requeue", f"{job}_0")
        os.kill(int((tmp_path / "pid-1").read_text()), signal.SIGKILL)  # its script requeues the job

        start_requeued = RequeuedJobs(env)

        def finished():
            start_requeued(f"{job}_0", f"{job}_1")
            return (mix / output_layout.CARD).exists() and not work.exists()

        wait(finished, "the mix was not finished")
    assert content(mix) == content(tmp_path / "one")
