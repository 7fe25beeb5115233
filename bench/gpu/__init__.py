"""The benchmark of the GPU: `python -m bench.gpu`, or `make bench-gpu`.

Device events time every row, beside a device-to-device copy of as many bytes and beside the
peers that are installed. Without a CUDA device it says so and measures nothing.
"""
