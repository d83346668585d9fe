"""The one name that strangers import."""
