"""Taylor arithmetic: truncated power series through functions written in ``autograd.numpy``."""
