"""Places where others put files: a drop folder, an SFTP server, and how sets are picked up."""
