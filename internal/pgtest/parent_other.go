//go:build !linux

package pgtest

import "syscall"

// attributes is what only Linux can promise more of; elsewhere a killed test leaves its server behind.
func attributes(who *syscall.Credential) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: who}
}
