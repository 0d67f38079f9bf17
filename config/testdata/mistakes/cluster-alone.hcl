cluster {
  listen   = "10.0.0.5:42425"
  transfer = "10.0.0.5:42426"
}
