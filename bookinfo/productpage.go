package bookinfo

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/json"
	"html/template"
	"net/http"
	"strings"
	"time"
)

//go:embed pages static
var files embed.FS

// callLimit is what productpage allows details and each try at reviews.
const callLimit = 3 * time.Second

// reviewTries is the weakness that the fault injection task of the tutorial is
// about: a try that timed out is repeated, so a slow reviews costs the page 6 s, and
// a sidecar's 0.5 s timeout one second.
const reviewTries = 2

type productpage struct {
	details, reviews, ratings *peer
	key                       []byte
	pages                     *template.Template
}

// book is the only product there is.
type book struct {
	ID              int    `json:"id"`
	Title           string `json:"title"`
	DescriptionHTML string `json:"descriptionHtml"`
}

var products = []book{{0, "The Comedy of Errors",
	"<p>One of <b>William Shakespeare's</b> early plays, his shortest and one of his most farcical comedies, " +
		"with slapstick, mistaken identity, puns and word play.</p>"}}

func newProductpage(o Options) http.Handler {
	s := &productpage{
		details: newPeer(o, "details", "DETAILS"),
		reviews: newPeer(o, "reviews", "REVIEWS"),
		ratings: newPeer(o, "ratings", "RATINGS"),
		key:     make([]byte, 32),
		pages:   template.Must(template.ParseFS(files, "pages/*.html")),
	}
	o.Seed.Bytes("session", s.key)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.index)
	mux.HandleFunc("GET /index.html", s.index)
	mux.HandleFunc("GET /health", healthy("Product page"))
	mux.HandleFunc("POST /login", s.login)
	mux.HandleFunc("GET /login", s.login)
	mux.HandleFunc("GET /logout", s.logout)
	mux.HandleFunc("GET /productpage", s.page)
	mux.HandleFunc("GET /api/v1/products", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, products) })
	mux.HandleFunc("GET /api/v1/products/{id}", s.api(func(r *http.Request) (int, []byte) { return s.getDetails(r) }))
	mux.HandleFunc("GET /api/v1/products/{id}/reviews", s.api(func(r *http.Request) (int, []byte) { return s.getReviews(r) }))
	mux.HandleFunc("GET /api/v1/products/{id}/ratings", s.api(func(r *http.Request) (int, []byte) {
		return s.ratings.get(r, s.user(r), r.PathValue("id"), callLimit)
	}))
	mux.Handle("GET /static/", http.FileServerFS(files))
	return mux
}

func (s *productpage) render(w http.ResponseWriter, name string, data any) {
	var page bytes.Buffer
	if err := s.pages.ExecuteTemplate(&page, name, data); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Write(page.Bytes())
}

func (s *productpage) index(w http.ResponseWriter, _ *http.Request) {
	s.render(w, "index.html", map[string]any{"Services": []string{"details", "reviews", "ratings"}})
}

// page shows the book, whatever became of the calls: a part that is unavailable is said to be.
func (s *productpage) page(w http.ResponseWriter, r *http.Request) {
	detailsStatus, detailsBody := s.getDetails(r)
	reviewsStatus, reviewsBody := s.getReviews(r)
	data := struct {
		Product                      book
		Description                  template.HTML
		User                         string
		DetailsStatus, ReviewsStatus int
		Details                      map[string]any
		Reviews                      struct {
			Pod  string   `json:"podname"`
			List []review `json:"reviews"`
		}
	}{Product: products[0], Description: template.HTML(products[0].DescriptionHTML), User: s.user(r),
		DetailsStatus: detailsStatus, ReviewsStatus: reviewsStatus}
	if detailsStatus == http.StatusOK && json.Unmarshal(detailsBody, &data.Details) != nil {
		data.DetailsStatus = http.StatusInternalServerError
	}
	if reviewsStatus == http.StatusOK && json.Unmarshal(reviewsBody, &data.Reviews) != nil {
		data.ReviewsStatus = http.StatusInternalServerError
	}
	s.render(w, "productpage.html", data)
}

func (s *productpage) getDetails(r *http.Request) (int, []byte) {
	return s.details.get(r, s.user(r), productID(r), callLimit)
}

// getReviews tries again whatever was no 200: see reviewTries.
func (s *productpage) getReviews(r *http.Request) (int, []byte) {
	var status int
	var body []byte
	for range reviewTries {
		status, body = s.reviews.get(r, s.user(r), productID(r), callLimit)
		if status == http.StatusOK {
			break
		}
	}
	return status, body
}

func productID(r *http.Request) string {
	if id := r.PathValue("id"); id != "" {
		return id
	}
	return "0"
}

// api passes a service's answer on, or says that it is unavailable.
func (s *productpage) api(get func(*http.Request) (int, []byte)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if _, ok := product(w, r); !ok {
			return
		}
		status, body := get(r)
		if status != http.StatusOK {
			what := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
			if what == r.PathValue("id") {
				what = "details"
			}
			writeJSON(w, status, map[string]string{"error": "Product " + what + " are currently unavailable for this book."})
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Write(body)
	}
}

const cookie = "session"

// login starts a session for whatever name was given, as the original does.
func (s *productpage) login(w http.ResponseWriter, r *http.Request) {
	if user := r.FormValue("username"); user != "" {
		name := base64.RawURLEncoding.EncodeToString([]byte(user))
		http.SetCookie(w, &http.Cookie{Name: cookie, Value: name + "." + s.sign(name), Path: "/", HttpOnly: true})
	}
	s.redirect(w, r)
}

func (s *productpage) logout(w http.ResponseWriter, r *http.Request) {
	http.SetCookie(w, &http.Cookie{Name: cookie, Path: "/", MaxAge: -1, HttpOnly: true})
	s.redirect(w, r)
}

func (s *productpage) redirect(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Location", "/productpage")
	w.WriteHeader(http.StatusFound)
}

// user is the name in a valid session, or in the end-user header of a caller.
func (s *productpage) user(r *http.Request) string {
	c, err := r.Cookie(cookie)
	if err != nil {
		return ""
	}
	name, signature, _ := strings.Cut(c.Value, ".")
	if !hmac.Equal([]byte(signature), []byte(s.sign(name))) {
		return ""
	}
	user, err := base64.RawURLEncoding.DecodeString(name)
	if err != nil {
		return ""
	}
	return string(user)
}

func (s *productpage) sign(text string) string {
	mac := hmac.New(sha256.New, s.key)
	mac.Write([]byte(text))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}
