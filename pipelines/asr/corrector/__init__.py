"""From text as a recogniser hears it to text as a project writes it: the manifest's `transmorgrifier`."""
