package gateway

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/millracehq/millrace/gateway/internal/route"
)

// reloadable are the keys of a configuration that Reload takes up. The others are fixed for the life of a gateway.
var reloadable = map[string]bool{
	"jwt_secret": true, "jwt_key": true, "jwks": true, "jwt_issuer": true, "jwt_audience": true, "jwt_leeway": true, "authorize": true,
	"max_connections": true, "max_connections_per_address": true, "max_connections_per_user": true, "max_accept_rate": true,
	"max_frame_rate": true, "max_byte_rate": true, "max_subscriptions": true, "max_requests": true,
	"trusted_proxies": true, "forwarded_header": true, "namespaces": true, "insecure": true,
}

// Reload has another configuration hold from now on, as far as that can change while the gateway runs, and reads keys anew. A configuration
// that is wrong, or names keys that cannot be had, changes nothing. What is different is logged by its name. It may be called while Run serves.
func (g *Gateway) Reload(ctx context.Context, cfg Config) error {
	g.changing.Lock()
	defer g.changing.Unlock()
	if g.serving == nil {
		return errors.New("the gateway does not serve yet, or not any more")
	}
	cfg.Logger = g.cfg.Logger
	if err := cfg.Validate(); err != nil {
		return err
	}
	cfg = cfg.withDefaults()
	changed, fixed := differences(&g.current, &cfg)
	cfg, err := g.current.with(cfg)
	if err != nil {
		return err
	}
	source, anew := g.keyring.source, slices.Contains(changed, "jwks")
	if anew {
		if source, err = cfg.source(); err != nil {
			return err
		}
	}
	if source != nil && !source.Fetch(ctx) && anew {
		return fmt.Errorf("jwks: %w", source.Ready())
	}
	rules, err := cfg.rules(g.node, source)
	if err != nil {
		return err
	}
	if anew {
		g.keep(g.serving, source)
	}
	g.current = cfg
	g.verifier.Store(rules.Verifier)
	g.onLoops(g.loops, func(r *route.Router) int { r.Apply(rules); return 0 })
	g.cfg.Logger.Info("configuration reloaded", "changed", changed)
	if len(fixed) > 0 {
		g.cfg.Logger.Warn("some settings have changed that hold from the next start on", "settings", fixed)
	}
	return nil
}

// differences are the keys in which two configurations differ: those that can change, and those that cannot.
func differences(a, b *Config) (changed, fixed []string) {
	changed = []string{}
	for name, field := range settings(a) {
		switch other := settings(b)[name]; {
		case reflect.DeepEqual(field.Interface(), other.Interface()) || field.Kind() == reflect.Slice && field.Len() == 0 && other.Len() == 0:
		case reloadable[name]:
			changed = append(changed, name)
		default:
			fixed = append(fixed, name)
		}
	}
	slices.Sort(changed)
	slices.Sort(fixed)
	return changed, fixed
}

// with is c with what other has for keys that can change. It must still be a whole: a setting that can change may not fit one that cannot.
func (c Config) with(other Config) (Config, error) {
	mine := settings(&c)
	for name, field := range settings(&other) {
		if reloadable[name] {
			mine[name].Set(field)
		}
	}
	return c, c.Validate()
}

// settings are the fields of a configuration by their keys.
func settings(c *Config) map[string]reflect.Value {
	all := map[string]reflect.Value{}
	v := reflect.ValueOf(c).Elem()
	for i := range v.NumField() {
		if name := v.Type().Field(i).Tag.Get("yaml"); name != "-" {
			all[name] = v.Field(i)
		}
	}
	return all
}

// Reloadable are the keys that Reload takes up, in their order.
func Reloadable() []string { return slices.Sorted(maps.Keys(reloadable)) }
