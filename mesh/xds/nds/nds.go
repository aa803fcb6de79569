// Package nds is the wire format of Istio's name tables (istio.networking.nds.v1.NameTable),
// the addresses of names that a proxy answers DNS queries with. istio.io/api does not have
// the message, so it is written and read here field by field.
//
// In: entries. Out: the resource, and back. It imports xds/resource only.
package nds

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/windtunnel-mesh/windtunnel/mesh/xds/resource"
)

// Entry is a host with its addresses.
type Entry struct {
	Host      string   `json:"host"` // in lower case; "*.example.com" stands for all names below
	Addresses []string `json:"addresses"`
	// Kubernetes hosts have short names, too: Name in Namespace.
	Kubernetes bool   `json:"kubernetes,omitempty"`
	Name       string `json:"name,omitempty"`
	Namespace  string `json:"namespace,omitempty"`
}

// The registries that hosts come from.
const (
	kubernetes = "Kubernetes"
	external   = "External"
)

// Numbers of fields: those of NameTable, of the entries of its map, and of NameInfo.
const (
	fieldTable = 1

	fieldKey, fieldValue = 1, 2

	fieldIPs, fieldRegistry, fieldName, fieldNamespace = 1, 2, 3, 4
)

// Resource makes the one resource of a proxy. As istiod's it has no name.
func Resource(entries []Entry) *resource.Resource {
	sorted := slices.SortedFunc(slices.Values(entries), func(a, b Entry) int { return strings.Compare(a.Host, b.Host) })
	var table []byte
	for _, e := range sorted {
		registry := external
		if e.Kubernetes {
			registry = kubernetes
		}
		var info []byte
		for _, a := range e.Addresses {
			info = appendText(info, fieldIPs, a)
		}
		info = appendText(info, fieldRegistry, registry)
		if e.Kubernetes {
			info = appendText(info, fieldName, e.Name)
			info = appendText(info, fieldNamespace, e.Namespace)
		}
		pair := appendText(nil, fieldKey, e.Host)
		pair = appendText(pair, fieldValue, string(info))
		table = appendText(table, fieldTable, string(pair))
	}
	return resource.Wrap("", &anypb.Any{TypeUrl: resource.NameTable, Value: table})
}

func appendText(b []byte, field protowire.Number, s string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), s)
}

// Read returns the entries of a table, sorted by host.
func Read(r *resource.Resource) ([]Entry, error) {
	if r.Body.GetTypeUrl() != resource.NameTable {
		return nil, fmt.Errorf("the name table has the type %q, expected %q", r.Body.GetTypeUrl(), resource.NameTable)
	}
	var entries []Entry
	err := each(r.Body.GetValue(), func(field protowire.Number, pair []byte) error {
		if field != fieldTable {
			return nil
		}
		e, err := readEntry(pair)
		entries = append(entries, e)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("name table: %w", err)
	}
	slices.SortStableFunc(entries, func(a, b Entry) int { return strings.Compare(a.Host, b.Host) })
	return entries, nil
}

func readEntry(pair []byte) (e Entry, err error) {
	err = each(pair, func(field protowire.Number, value []byte) error {
		switch field {
		case fieldKey:
			e.Host = strings.ToLower(string(value))
		case fieldValue:
			return each(value, e.take)
		}
		return nil
	})
	return e, err
}

// take reads a field of NameInfo.
func (e *Entry) take(field protowire.Number, value []byte) error {
	switch field {
	case fieldIPs:
		e.Addresses = append(e.Addresses, string(value))
	case fieldRegistry:
		e.Kubernetes = string(value) == kubernetes
	case fieldName:
		e.Name = string(value)
	case fieldNamespace:
		e.Namespace = string(value)
	}
	return nil
}

// each calls f for the fields of a message that have a length; what else there is, a later
// version of Istio may have added.
func each(message []byte, f func(field protowire.Number, value []byte) error) error {
	for len(message) > 0 {
		field, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return protowire.ParseError(n)
		}
		message = message[n:]
		if kind != protowire.BytesType {
			if n = protowire.ConsumeFieldValue(field, kind, message); n < 0 {
				return protowire.ParseError(n)
			}
			message = message[n:]
			continue
		}
		value, n := protowire.ConsumeBytes(message)
		if n < 0 {
			return protowire.ParseError(n)
		}
		message = message[n:]
		if err := f(field, value); err != nil {
			return err
		}
	}
	return nil
}
