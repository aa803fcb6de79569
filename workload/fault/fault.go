// Package fault breaks the Pods of a node from the node: it stops, continues and kills
// their processes, and drops and refuses their packets. Both ends are here: what to do
// comes in as JSON over HTTP, into a privileged Pod that sees all processes of its node.
// Whoever may speak to a Handler may break every Pod there: it belongs into test
// clusters only.
//
// It must import nothing of ours.
package fault

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
)

// The actions of orders.
const (
	Pause  = "pause"  // SIGSTOP to all processes of the containers
	Resume = "resume" // SIGCONT to them
	Kill   = "kill"   // SIGKILL to them
	Filter = "filter" // the Pod's packets are filtered as the order says, and no longer as one before did
)

// Order is one thing to be done to one Pod.
type Order struct {
	Action string `json:"action"`
	// Containers are those of the Pod that it is about, by the ids that the container
	// runtime gave them. A filter needs one, for the Pod's network namespace.
	Containers []string `json:"containers"`
	// Drop are the peers with which the Pod exchanges no packets.
	Drop []netip.Addr `json:"drop,omitempty"`
	// Refuse are TCP ports of the Pod where connections get a reset.
	Refuse []uint16 `json:"refuse,omitempty"`
}

var containerID = regexp.MustCompile(`^[0-9a-f]{12,64}$`)

func (o *Order) check() error {
	if !slices.Contains([]string{Pause, Resume, Kill, Filter}, o.Action) {
		return fmt.Errorf("there is no action %q", o.Action)
	}
	if len(o.Containers) == 0 {
		return errors.New("an order needs containers")
	}
	for _, id := range o.Containers {
		if !containerID.MatchString(id) {
			return fmt.Errorf("%q is no container's id", id)
		}
	}
	if o.Action != Filter && len(o.Drop)+len(o.Refuse) > 0 {
		return fmt.Errorf("%s filters nothing", o.Action)
	}
	return nil
}

// Do carries the order out, on the node on which this process sees all processes.
func (o *Order) Do() error {
	if err := o.check(); err != nil {
		return err
	}
	processes, err := processesOf(o.Containers)
	if err != nil {
		return err
	}
	if len(processes) == 0 {
		return fmt.Errorf("no process of the containers %v runs on this node", o.Containers)
	}
	if o.Action == Filter {
		return filter(processes[0], o.Drop, o.Refuse)
	}
	return signal(o.Action, processes)
}

const maxOrder = 1 << 20

// Handler answers POST /fault.
func Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("POST /fault", func(w http.ResponseWriter, r *http.Request) {
		d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxOrder))
		d.DisallowUnknownFields()
		var o Order
		if err := d.Decode(&o); err != nil {
			http.Error(w, "an order as JSON: "+err.Error(), http.StatusBadRequest)
			return
		}
		if err := o.Do(); err != nil {
			http.Error(w, err.Error(), http.StatusUnprocessableEntity)
		}
	})
	return mux
}

// Ask has the Handler at base, http://HOST:PORT, carry an order out.
func Ask(ctx context.Context, client *http.Client, base string, o *Order) error {
	body, err := json.Marshal(o)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/fault", bytes.NewReader(body))
	if err != nil {
		return err
	}
	answer, err := client.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(answer.Body, 1<<10))
		return fmt.Errorf("%s: %s", o.Action, bytes.TrimSpace(text))
	}
	return nil
}
