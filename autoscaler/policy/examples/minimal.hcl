# The smallest useful policy: everything else has a default.

fleet "web" {
  id = "sfr-73fbd2ce-aa30-494c-8788-1cee4b2ad1f5"
}
