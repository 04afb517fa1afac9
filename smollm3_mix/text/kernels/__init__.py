"""C kernels over whole blocks, compiled at installation and called through ctypes."""
