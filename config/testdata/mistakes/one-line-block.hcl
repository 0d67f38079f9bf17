log { level = "info"  format = "text" }

sessions {
  max_waiting = 0
}
