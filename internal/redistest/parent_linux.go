package redistest

import "syscall"

// dieWithParent has the kernel kill the server with the test, also when the test is killed and runs no cleanup.
func dieWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
