"""Where blobs are kept outside this process."""
