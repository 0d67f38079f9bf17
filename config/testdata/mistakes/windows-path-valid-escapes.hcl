cluster {
  key_file = "C:\new.key"
}
