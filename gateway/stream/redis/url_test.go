package redis

import (
	"strings"
	"testing"
)

func TestParseAddress(t *testing.T) {
	for text, want := range map[string]string{ // String, then what it leaves out
		"redis://h":                        "h:6379",
		"redis://:6380/3":                  "localhost:6380 db=3",
		"redis://::1":                      "[::1]:6379",
		"redis://[::1]:6380":               "[::1]:6380",
		"redis://u:p%40w%2F@h:1":           "h:1 u=u p=p@w/",
		"redis://:pw@h:1/0":                "h:1 p=pw",
		"rediss://h:1?server_name=x&ca=/a": "h:1 tls ca=/a name=x",
		"redis+sentinel://a,b:2/m":         "redis+sentinel://a:26379,b:2/m",
		"redis+sentinel://u:p@a:1/m/2":     "redis+sentinel://a:1/m u=u p=p db=2",
		"rediss+sentinel://a:1/m?sentinel_user=s&sentinel_password=t": "rediss+sentinel://a:1/m tls su=s sp=t",
		"redis+cluster://u:p@a:1,[::1]:2":                             "redis+cluster://a:1,[::1]:2 u=u p=p",
		"rediss+cluster://a/0?insecure_skip_verify=true":              "rediss+cluster://a:6379 tls insecure=true",
	} {
		a, err := parseAddress(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		got := a.String()
		add := func(name, value string) {
			if value != "" {
				got += " " + name + value
			}
		}
		if a.tls {
			got += " tls"
		}
		add("u=", a.user)
		add("p=", a.password)
		if a.db != 0 {
			add("db=", string(rune('0'+a.db)))
		}
		add("su=", a.sentinelUser)
		add("sp=", a.sentinelPassword)
		add("ca=", a.tlsOptions.ca)
		add("name=", a.tlsOptions.serverName)
		add("insecure=", a.tlsOptions.insecure)
		if got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

// Errors say what to write, and never show a password, nor a part of it.
func TestAddressFaults(t *testing.T) {
	for text, want := range map[string]string{
		"":                                          "want redis://",
		"localhost:6379":                            "want redis://",
		"unix:///s":                                 "no scheme of Redis",
		"redis+tls://h":                             "rediss://",
		"redis://":                                  "no host",
		"redis://h:0":                               "port",
		"redis://h:sixty":                           "port",
		"redis://a,b":                               "redis+sentinel://",
		"redis://h/x":                               "not a number",
		"redis://h/-1":                              "not a number",
		"redis://user@h":                            "user:password@",
		"redis://u:se%cret@h":                       "%25",
		"redis://u:secret/secret@h":                 "%2F",
		"redis://u:secret?secret@h":                 "%3F",
		"redis://u:secret@x/secret@h":               "%40",
		"redis://u:secret@h:port":                   "port",
		"secret:secret@h://h":                       "no scheme of Redis",
		"redis+sentinel://h":                        "name of the master",
		"redis+sentinel://h/m/x":                    "not a number",
		"redis+cluster://h/1":                       "only database 0",
		"redis://h?read_timeout=1s":                 `"read_timeout" is not known`,
		"redis://h?ca=/a":                           "rediss",
		"rediss://h?ca=/a&ca=/b":                    "2 times",
		"rediss://h?ca=":                            "no value",
		"rediss://h?ca=%zz":                         "%25",
		"redis://h?sentinel_password=secret":        "redis+sentinel://",
		"redis+sentinel://h/m?sentinel_user=u":      "sentinel_password",
		"rediss://h?insecure_skip_verify=1":         "write true",
		"rediss://h?insecure_skip_verify=True":      "write true",
		"rediss://u:secret@h?ca=/not/there":         "/not/there",
		"rediss://u:secret@h?ca=url_test.go":        "no certificate",
		"rediss://h?cert=/a":                        "give both",
		"rediss://h?cert=/not/there&key=/not/there": "/not/there",
	} {
		_, err := New(Config{URL: text})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want it to say %q", text, err, want)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("shows a password: %v", err)
		}
	}
}

func FuzzParseAddress(f *testing.F) {
	f.Add("redis://u:secret@h:1/0?ca=x")
	f.Add("redis+sentinel://:secret@a,b:2/m/1?sentinel_password=secret")
	f.Fuzz(func(t *testing.T, text string) {
		a, err := parseAddress(text)
		if err != nil {
			return
		}
		if len(a.hosts) == 0 || a.kind == sentinel && a.master == "" || a.db < 0 {
			t.Fatalf("%q: %+v", text, a)
		}
		if again, err := parseAddress(strings.Replace("redis://"+a.String(), "redis://redis", "redis", 1)); err != nil || again.String() != a.String() {
			t.Fatalf("%q: %q is read as %q, %v", text, a.String(), again.String(), err)
		}
	})
}
