package pgtest

import "syscall"

// attributes has the kernel end the server with the test, also when the test is killed and runs no cleanup.
func attributes(who *syscall.Credential) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: who, Pdeathsig: syscall.SIGQUIT}
}
