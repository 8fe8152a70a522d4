//go:build !linux

package stack

import "syscall"

// childAttributes is what only Linux can promise; elsewhere a killed runner leaves its children behind.
func childAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
