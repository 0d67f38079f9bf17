cluster {
  key_file = "C:\statemesh\cluster.key"
}
