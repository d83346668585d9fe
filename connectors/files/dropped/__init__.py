"""Places where others put files: a drop directory, an SFTP server, and how sets are picked up."""
