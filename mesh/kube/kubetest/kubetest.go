// Package kubetest is an API server in small, for the tests of what speaks with one:
// objects by their paths, lists by labels, watches, patches, reviews that allow all.
//
// In: objects. Out: a kubeconfig that leads to a server on 127.0.0.1. It knows no
// schemas, no defaults and no controllers. It must not import anything of ours.
package kubetest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/yaml"
)

// Server is an API server.
type Server struct {
	// Minor is the y of the version 1.y.
	Minor int
	// OnChange is called with each object that was written, before watchers see it; it
	// may change it, as a controller would.
	OnChange func(*unstructured.Unstructured)

	url     string
	file    string
	mu      sync.Mutex
	version int
	objects map[string]*unstructured.Unstructured // by path
	changed chan struct{}
	events  []event
}

type event struct {
	collection string
	kind       string // ADDED, MODIFIED, DELETED
	object     *unstructured.Unstructured
}

// New starts a server, which ends with the test. The paths are those of the real one:
// "/api/v1/nodes/a", "/apis/apps/v1/namespaces/ns/deployments/web"; the objects YAML.
func New(t *testing.T, objects map[string]string) *Server {
	t.Helper()
	s := &Server{Minor: 34, objects: make(map[string]*unstructured.Unstructured), changed: make(chan struct{})}
	for path, text := range objects {
		s.Put(t, path, text)
	}
	server := httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(func() {
		server.CloseClientConnections() // watches never end by themselves
		server.Close()
	})
	s.url = server.URL
	s.file = filepath.Join(t.TempDir(), "kubeconfig")
	text := fmt.Sprintf("apiVersion: v1\nkind: Config\ncurrent-context: fake\nclusters: [{name: a, cluster: {server: %q}}]\n"+
		"contexts: [{name: fake, context: {cluster: a, user: a}}]\nusers: [{name: a}]\n", server.URL)
	if err := os.WriteFile(s.file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

// Kubeconfig is a file that leads to the server.
func (s *Server) Kubeconfig() string { return s.file }

// Put writes an object.
func (s *Server) Put(t *testing.T, path, text string) {
	t.Helper()
	u := &unstructured.Unstructured{}
	if err := read([]byte(text), u); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(path, u)
}

// read decodes YAML or JSON, with whole numbers as the API's machinery has them.
func read(text []byte, u *unstructured.Unstructured) error {
	body, err := yaml.YAMLToJSON(text)
	if err != nil {
		return err
	}
	return utiljson.Unmarshal(body, &u.Object)
}

// Get is the object at a path; nil where there is none.
func (s *Server) Get(path string) *unstructured.Unstructured {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u := s.objects[path]; u != nil {
		return u.DeepCopy()
	}
	return nil
}

func (s *Server) put(path string, u *unstructured.Unstructured) {
	kind := "MODIFIED"
	if s.objects[path] == nil {
		kind = "ADDED"
	}
	s.version++
	u.SetResourceVersion(fmt.Sprint(s.version))
	u.SetName(path[strings.LastIndexByte(path, '/')+1:])
	if s.OnChange != nil {
		s.OnChange(u)
	}
	s.objects[path] = u
	s.tell(event{collectionOf(path), kind, u.DeepCopy()})
}

func (s *Server) tell(e event) {
	s.events = append(s.events, e)
	close(s.changed)
	s.changed = make(chan struct{})
}

// collectionOf is the path of the list over all namespaces that an object is in.
func collectionOf(path string) string {
	parts := strings.Split(strings.TrimPrefix(path[:strings.LastIndexByte(path, '/')], "/"), "/")
	if i := slices.Index(parts, "namespaces"); i >= 0 && i+2 < len(parts) {
		parts = slices.Delete(parts, i, i+2)
	}
	return "/" + strings.Join(parts, "/")
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	query := r.URL.Query()
	switch {
	case r.URL.Path == "/version":
		fmt.Fprintf(w, `{"major":"1","minor":"%d","gitVersion":"v1.%d.0"}`, s.Minor, s.Minor)
	case query.Get("sendInitialEvents") == "true":
		refuse(w, http.StatusUnprocessableEntity, metav1.StatusReasonInvalid)
	case query.Get("watch") == "true":
		s.watch(w, r)
	case r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "reviews"):
		s.review(w, r)
	default:
		s.object(w, r)
	}
}

func refuse(w http.ResponseWriter, code int, reason metav1.StatusReason) {
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"},
		Status: metav1.StatusFailure, Code: int32(code), Reason: reason, Message: string(reason)})
}

// review allows what it is asked for.
func (s *Server) review(w http.ResponseWriter, r *http.Request) {
	var u map[string]any
	if err := json.NewDecoder(r.Body).Decode(&u); err != nil {
		refuse(w, http.StatusBadRequest, metav1.StatusReasonBadRequest)
		return
	}
	u["status"] = map[string]any{"allowed": true}
	_ = json.NewEncoder(w).Encode(u)
}

func (s *Server) object(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	path, ofStatus := strings.CutSuffix(r.URL.Path, "/status")
	now := s.objects[path]
	switch {
	case r.Method == http.MethodPost, r.Method == http.MethodPut:
		s.written(w, r)
	case r.Method == http.MethodPatch:
		body, _ := io.ReadAll(r.Body)
		u, err := patched(now, body, r.Header.Get("Content-Type"))
		if err != nil {
			refuse(w, http.StatusUnprocessableEntity, metav1.StatusReasonInvalid)
			return
		}
		if ofStatus {
			if now == nil {
				refuse(w, http.StatusNotFound, metav1.StatusReasonNotFound)
				return
			}
			status := u.Object["status"]
			u = now.DeepCopy()
			u.Object["status"] = status
		}
		s.put(path, u)
		_ = json.NewEncoder(w).Encode(u.Object)
	case r.Method == http.MethodDelete && now != nil:
		delete(s.objects, path)
		s.version++
		s.tell(event{collectionOf(path), "DELETED", now})
		_ = json.NewEncoder(w).Encode(now.Object)
	case r.Method == http.MethodGet && now != nil:
		_ = json.NewEncoder(w).Encode(now.Object)
	case r.Method == http.MethodGet && s.isCollection(path):
		s.list(w, r)
	default:
		refuse(w, http.StatusNotFound, metav1.StatusReasonNotFound)
	}
}

// written makes an object that must not be there, or replaces the one of the version that
// was read.
func (s *Server) written(w http.ResponseWriter, r *http.Request) {
	u := &unstructured.Unstructured{}
	body, _ := io.ReadAll(r.Body)
	if err := read(body, u); err != nil {
		refuse(w, http.StatusBadRequest, metav1.StatusReasonBadRequest)
		return
	}
	path := r.URL.Path
	if r.Method == http.MethodPost {
		path += "/" + u.GetName()
	}
	switch now := s.objects[path]; {
	case r.Method == http.MethodPost && now != nil:
		refuse(w, http.StatusConflict, metav1.StatusReasonAlreadyExists)
	case r.Method == http.MethodPut && now == nil:
		refuse(w, http.StatusNotFound, metav1.StatusReasonNotFound)
	case r.Method == http.MethodPut && now.GetResourceVersion() != u.GetResourceVersion():
		refuse(w, http.StatusConflict, metav1.StatusReasonConflict)
	default:
		s.put(path, u)
		_ = json.NewEncoder(w).Encode(u.Object)
	}
}

// isCollection tells whether a path names a resource, not an object.
func (s *Server) isCollection(path string) bool {
	parts := strings.Split(strings.Trim(collectionOf(path+"/x"), "/"), "/")
	return len(parts) == 3 && parts[0] == "api" || len(parts) == 4 && parts[0] == "apis"
}

func patched(now *unstructured.Unstructured, body []byte, kind string) (*unstructured.Unstructured, error) {
	u := &unstructured.Unstructured{}
	switch {
	case strings.HasPrefix(kind, "application/apply-patch"):
		return u, read(body, u)
	case now == nil:
		return nil, fmt.Errorf("nothing to patch")
	}
	before, err := json.Marshal(now.Object)
	if err != nil {
		return nil, err
	}
	steps, err := jsonpatch.DecodePatch(body)
	if err != nil {
		return nil, err
	}
	after, err := steps.Apply(before)
	if err != nil {
		return nil, err
	}
	return u, read(after, u)
}

// chosen tells whether a request's path and selectors choose an object.
func chosen(r *http.Request, u *unstructured.Unstructured) bool {
	selector, err := labels.Parse(r.URL.Query().Get("labelSelector"))
	if err != nil || !selector.Matches(labels.Set(u.GetLabels())) {
		return false
	}
	field, err := fields.ParseSelector(r.URL.Query().Get("fieldSelector"))
	return err == nil && field.Matches(fields.Set{"metadata.name": u.GetName(), "metadata.namespace": u.GetNamespace()})
}

func (s *Server) list(w http.ResponseWriter, r *http.Request) {
	items := []any{}
	var paths []string
	for path := range s.objects {
		paths = append(paths, path)
	}
	slices.Sort(paths)
	for _, path := range paths {
		in := path[:strings.LastIndexByte(path, '/')] == r.URL.Path || collectionOf(path) == r.URL.Path
		if in && chosen(r, s.objects[path]) {
			items = append(items, s.objects[path].Object)
		}
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"kind": "List", "apiVersion": "v1",
		"metadata": map[string]any{"resourceVersion": fmt.Sprint(s.version)}, "items": items})
}

// watch tells of what happens after the version that the request names, to its end.
func (s *Server) watch(w http.ResponseWriter, r *http.Request) {
	collection := collectionOf(r.URL.Path + "/x")
	var after int
	_, _ = fmt.Sscan(r.URL.Query().Get("resourceVersion"), &after)
	flush := w.(http.Flusher)
	flush.Flush()
	for next := 0; ; {
		s.mu.Lock()
		events, changed := s.events[next:], s.changed
		next = len(s.events)
		s.mu.Unlock()
		for _, e := range events {
			var version int
			_, _ = fmt.Sscan(e.object.GetResourceVersion(), &version)
			if e.collection == collection && (version > after || e.kind == "DELETED") && chosen(r, e.object) {
				_ = json.NewEncoder(w).Encode(map[string]any{"type": e.kind, "object": e.object.Object})
			}
		}
		flush.Flush()
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		}
	}
}
