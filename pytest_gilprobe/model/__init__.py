"""Define data classes for settings, measurements and reports, with their JSON form; import no other subpackage."""
