// Package tunnet is a network that loses, delays and cuts, made of TUN devices and one process that moves packets between them.
//
//	namespace of host 1                this process                  namespace of host 2
//	 statemesh ── kernel ── tun0 ──▶ read ─ lost? ─ delayed ─▶ write ──▶ tun0 ── kernel ── statemesh
//
// Each [Host] is a network namespace of its own with a TUN device as its only way out, so that processes started there speak real TCP
// and UDP to each other, while what happens to each of their packets is decided here, from a seed. It needs Linux, root, and
// /dev/net/tun, but no module of the kernel for bad networks (netem), and no program: namespaces and devices are made by system calls,
// have no names, and are gone with the process.
//
// A host's thread is what holds its namespace: the functions of [Host.Do] run there, one after the other. Packets move in two
// goroutines for each host, one that reads from its device and one that writes to it what is due; Close ends them all.
package tunnet
