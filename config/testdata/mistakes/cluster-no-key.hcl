cluster {
  join = ["127.0.0.1:42425"]
}
