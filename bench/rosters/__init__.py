"""What a bench reads: rosters of a size, turned from day to day, over HTTP or as files."""
