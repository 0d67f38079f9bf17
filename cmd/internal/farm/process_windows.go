package farm

import (
	"errors"
	"os"
)

// Windows has no signals to send to a process without a console: what needs them is not done there.

func terminate(p *os.Process) error { return p.Kill() }
func pause(*os.Process) error       { return errors.ErrUnsupported }
func resume(*os.Process) error      { return errors.ErrUnsupported }
func hangUp(*os.Process) error      { return errors.ErrUnsupported }
