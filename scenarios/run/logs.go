package run

import "errors"

// LogKeeper is a World that keeps what its proxies write into access logs.
type LogKeeper interface {
	// Logs are the lines of a workload's proxies since the world began, without their
	// ends, in the order in which they were written.
	Logs(workload string) ([]string, error)
}

// Logs implements expect.Host.
func (h host) Logs(workload string) ([]string, error) {
	world, ok := h.world.(LogKeeper)
	if !ok {
		return nil, errors.New("logs: this world keeps no access logs")
	}
	return world.Logs(workload)
}
