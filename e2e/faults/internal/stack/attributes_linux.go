package stack

import "syscall"

// childAttributes: the kernel kills the children of a runner that was killed, and Ctrl-C is for the runner alone.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
