//go:build !linux

package redistest

import "syscall"

// dieWithParent is what only Linux can promise; elsewhere a killed test leaves its server behind.
func dieWithParent() *syscall.SysProcAttr { return nil }
