package bench

import (
	"os"
	"time"
)

var selfPID = os.Getpid()

// cpuMeter tells how busy a process has been since the meter was made.
type cpuMeter struct {
	pid  int
	used time.Duration
	at   time.Time
}

func newCPUMeter(pid int) cpuMeter {
	return cpuMeter{pid, CPUTime(pid), time.Now()}
}

// busy is the share of one processor that the process has used, or 0 if that is not known.
func (m cpuMeter) busy() float64 {
	used, took := CPUTime(m.pid)-m.used, time.Since(m.at)
	if m.used < 0 || used < 0 || took <= 0 {
		return 0
	}
	return float64(used) / float64(took)
}
