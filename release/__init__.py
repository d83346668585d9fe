"""What a release needs: the build of the wheel, its check, and the lowest versions that work.

Nothing of this is installed; it is used by Hatchling and by the Makefile.
"""
