package main

import (
	"net/url"
	"strings"
)

// public is the command line without what may be secret: values of variables, credentials in URLs.
func public(args []string) []string {
	list := []string{"loadtest"}
	hide := false
	for _, arg := range args {
		flag, value, joined := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		variable := strings.HasPrefix(arg, "-") && (flag == "e" || flag == "env")
		switch {
		case hide:
			arg = hidden(arg)
		case variable && joined:
			arg = arg[:len(arg)-len(value)] + hidden(value)
		case !variable:
			arg = withoutPassword(arg)
		}
		hide = variable && !joined && !hide
		list = append(list, arg)
	}
	return list
}

// hidden is NAME=… of NAME=VALUE.
func hidden(pair string) string {
	name, _, _ := strings.Cut(pair, "=")
	return name + "=…"
}

// withoutPassword hides user information and the query of a URL, wherever it stands in the argument.
func withoutPassword(arg string) string {
	at := strings.Index(arg, "://")
	if at < 0 {
		return arg
	}
	start := strings.LastIndexByte(arg[:at], '=') + 1
	u, err := url.Parse(arg[start:])
	if err != nil {
		return arg[:at] + "://…"
	}
	if u.User != nil {
		u.User = url.User("…")
	}
	if u.RawQuery != "" {
		u.RawQuery = "…"
	}
	text, err := url.PathUnescape(u.String())
	if err != nil {
		return arg[:at] + "://…"
	}
	return arg[:start] + text
}
