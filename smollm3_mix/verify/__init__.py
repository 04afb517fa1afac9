"""Written mixes recounted from their files alone.

verdict      what is found, and checks of all formats
recount      records in Parquet
by_source    documents by source
token_files  tokens for nanotron and Megatron
folder       any of them
"""

from smollm3_mix.verify.folder import verify, write_report
from smollm3_mix.verify.verdict import Verdict

__all__ = ["Verdict", "verify", "write_report"]
