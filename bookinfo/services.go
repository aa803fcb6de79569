package bookinfo

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"
)

func newDetails() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", healthy("Details"))
	mux.HandleFunc("GET /details/{id}", func(w http.ResponseWriter, r *http.Request) {
		id, ok := product(w, r)
		if !ok {
			return
		}
		writeJSON(w, http.StatusOK, map[string]any{
			"id": id, "author": "William Shakespeare", "year": 1595, "type": "paperback", "pages": 200,
			"publisher": "PublisherA", "language": "English", "ISBN-10": "1234567890", "ISBN-13": "123-1234567890",
		})
	})
	return mux
}

// ratings keeps what was posted, by product.
type ratings struct {
	mu     sync.Mutex
	posted map[int]map[string]int
}

func newRatings() http.Handler {
	s := &ratings{posted: make(map[int]map[string]int)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", healthy("Ratings"))
	mux.HandleFunc("GET /ratings/{id}", s.get)
	mux.HandleFunc("POST /ratings/{id}", s.post)
	return mux
}

func (s *ratings) get(w http.ResponseWriter, r *http.Request) {
	if id, ok := product(w, r); ok {
		writeJSON(w, http.StatusOK, s.of(id))
	}
}

func (s *ratings) post(w http.ResponseWriter, r *http.Request) {
	id, ok := product(w, r)
	if !ok {
		return
	}
	var stars map[string]int
	if err := json.NewDecoder(r.Body).Decode(&stars); err != nil {
		writeJSON(w, http.StatusBadRequest, map[string]string{"error": "please provide valid ratings JSON"})
		return
	}
	s.mu.Lock()
	s.posted[id] = stars
	s.mu.Unlock()
	writeJSON(w, http.StatusOK, s.of(id))
}

func (s *ratings) of(id int) map[string]any {
	s.mu.Lock()
	defer s.mu.Unlock()
	stars := s.posted[id]
	if stars == nil {
		stars = map[string]int{"Reviewer1": 5, "Reviewer2": 4}
	}
	return map[string]any{"id": id, "ratings": stars}
}

// review is one review as the service gives it and the page shows it.
type review struct {
	Reviewer string  `json:"reviewer"`
	Text     string  `json:"text"`
	Rating   *rating `json:"rating,omitempty"`
}

type rating struct {
	Stars int    `json:"stars,omitempty"`
	Color string `json:"color,omitempty"`
	Error string `json:"error,omitempty"`
}

// reviews has no stars in v1, black ones in v2 and red ones in v3.
type reviews struct {
	color   string
	limit   time.Duration
	host    string
	ratings *peer
}

func newReviews(version string, o Options) (http.Handler, error) {
	s := &reviews{host: o.Hostname, ratings: newPeer(o, "ratings", "RATINGS")}
	switch version {
	case "v1":
	case "v2": // The original waits 10 s for ratings in v2 and 2.5 s in v3.
		s.color, s.limit = "black", 10*time.Second
	case "v3":
		s.color, s.limit = "red", 2500*time.Millisecond
	default:
		return nil, fmt.Errorf("bookinfo's reviews has no version %q: expected v1, v2 or v3", version)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", healthy("Reviews"))
	mux.HandleFunc("GET /reviews/{id}", s.get)
	return mux, nil
}

func (s *reviews) get(w http.ResponseWriter, r *http.Request) {
	if _, ok := product(w, r); !ok {
		return
	}
	list := []review{
		{Reviewer: "Reviewer1", Text: "A very funny play: two pairs of twins, and nobody knows who is who."},
		{Reviewer: "Reviewer2", Text: "Good fun, though it lacks the depth of the later comedies."},
	}
	if s.color != "" {
		s.rate(r, list)
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"id": r.PathValue("id"), "podname": s.host, "clustername": "null", "reviews": list,
	})
}

// rate adds what ratings says, or that it is unavailable.
func (s *reviews) rate(r *http.Request, list []review) {
	var answer struct {
		Ratings map[string]int `json:"ratings"`
	}
	status, body := s.ratings.get(r, "", r.PathValue("id"), s.limit)
	ok := status == http.StatusOK && json.Unmarshal(body, &answer) == nil
	for i := range list {
		list[i].Rating = &rating{Error: "Ratings service is currently unavailable"}
		if ok {
			list[i].Rating = &rating{Stars: answer.Ratings[list[i].Reviewer], Color: s.color}
		}
	}
}
