fleet "web" {
  id = "sfr-73fbd2ce-aa30-494c-8788-1cee4b2ad1f5"

  capacity {
    min = 2
    max = 10
  }

  schedule "february" {
    start = "0 0 30 2 *"
    for   = "9h"
    min   = 4
  }
  schedule "nothing" {
    start = "0 8 * * MON-FRI"
    zone  = "Europe/Berln"
    for   = "0s"
  }
  schedule "seconds" {
    start = "0 0 8 * * *"
    zone  = "CEST"
    for   = "1h"
    min   = 11
  }
  schedule "lower" {
    start  = "0 25 * * *"
    for    = "1h"
    min    = 1
    target = "80%"
  }
  schedule "late hours" {
    for = "40d"
  }
}
