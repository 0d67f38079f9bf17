sessions {
  snapshot_dir = "snapshots"
}
