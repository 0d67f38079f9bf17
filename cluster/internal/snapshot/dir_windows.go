package snapshot

import (
	"fmt"
	"os"
	"path/filepath"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
)

// lockDir takes the folder for this process, until the file is closed or the process ends: a file that cannot be opened twice, and goes when it is
// closed.
func lockDir(path string) (*os.File, error) {
	name := filepath.Join(path, "snapshot.lock")
	p, err := windows.UTF16PtrFromString(name)
	if err != nil {
		return nil, err
	}
	h, err := windows.CreateFile(p, windows.GENERIC_WRITE|windows.DELETE, 0, nil, windows.OPEN_ALWAYS,
		windows.FILE_ATTRIBUTE_NORMAL|windows.FILE_FLAG_DELETE_ON_CLOSE, 0)
	switch err {
	case nil:
		return os.NewFile(uintptr(h), name), nil
	case windows.ERROR_SHARING_VIOLATION:
		return nil, fmt.Errorf("%s is used by another statemesh: each node needs its own", path)
	}
	return nil, &os.PathError{Op: "open", Path: name, Err: err}
}

// private is who may open a file: the system, administrators, and whoever made it; nobody by inheritance.
const private = "D:P(A;;FA;;;SY)(A;;FA;;;BA)(A;;FA;;;OW)"

// createPrivate makes a file that nobody else may read.
func createPrivate(path string) (*os.File, error) {
	p, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return nil, err
	}
	descriptor, err := windows.SecurityDescriptorFromString(private)
	if err != nil {
		return nil, err
	}
	attributes := &windows.SecurityAttributes{SecurityDescriptor: descriptor}
	attributes.Length = uint32(unsafe.Sizeof(*attributes))
	h, err := windows.CreateFile(p, windows.GENERIC_WRITE, windows.FILE_SHARE_READ, attributes, windows.CREATE_NEW, windows.FILE_ATTRIBUTE_NORMAL, 0)
	if err != nil {
		return nil, &os.PathError{Op: "create", Path: path, Err: err}
	}
	return os.NewFile(uintptr(h), path), nil
}

// renameDurably returns when the new name is on disk: Windows has no way to ask for that later, by the folder. A file that was just written is
// often open for a moment in a virus scanner, and then cannot be renamed; so it is tried for two seconds.
func renameDurably(from, to string) error {
	f, err := windows.UTF16PtrFromString(from)
	if err != nil {
		return err
	}
	t, err := windows.UTF16PtrFromString(to)
	if err != nil {
		return err
	}
	for pause := 10 * time.Millisecond; ; pause *= 2 {
		err := windows.MoveFileEx(f, t, windows.MOVEFILE_REPLACE_EXISTING|windows.MOVEFILE_WRITE_THROUGH)
		switch {
		case err == nil:
			return nil
		case pause > time.Second || err != windows.ERROR_SHARING_VIOLATION && err != windows.ERROR_ACCESS_DENIED:
			return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
		}
		time.Sleep(pause)
	}
}

func syncDir(string) error { return nil } // see renameDurably
