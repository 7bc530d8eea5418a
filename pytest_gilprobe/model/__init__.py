"""Data classes for settings, measurements and reports, with their JSON form. They depend on no other subpackage."""
