package config

import (
	"fmt"
	"slices"
	"strconv"
	"time"
)

// ProxyMetadata are the variables of proxyMetadata that proxies honour: how they end.
var ProxyMetadata = []string{"EXIT_ON_ZERO_ACTIVE_CONNECTIONS", "MINIMUM_DRAIN_DURATION"}

// CheckProxyMetadata says what is wrong with a variable of proxyMetadata. It is the same
// for the whole mesh and for one Pod.
func CheckProxyMetadata(name, value string) error {
	if !slices.Contains(ProxyMetadata, name) {
		return fmt.Errorf("%s is not supported, only %s and %s are", name, ProxyMetadata[0], ProxyMetadata[1])
	}
	if name == ProxyMetadata[0] {
		if _, err := strconv.ParseBool(value); err != nil {
			return fmt.Errorf("%s %q: expected true or false", name, value)
		}
		return nil
	}
	if d, err := time.ParseDuration(value); err != nil || d < 0 {
		return fmt.Errorf("%s %q: expected a duration, such as 5s", name, value)
	}
	return nil
}

// CheckDrain says what is wrong with how long the connections of a listener may take to
// end, by the rule of Istio's validation.
func CheckDrain(d time.Duration) error {
	if d < time.Second || d%time.Second != 0 {
		return fmt.Errorf("drainDuration %v: expected whole seconds, one at least, such as 45s", d)
	}
	return nil
}
