package main

import (
	"embed"
	"net/http"
	"path"
)

//go:embed web
var web embed.FS

// pages are the files of the page to try the service, by their routes.
var pages = map[string]string{
	"/{$}":       "web/index.html",
	"/app.js":    "web/app.js",
	"/chart.js":  "web/chart.js",
	"/style.css": "web/style.css",
}

var contentTypes = map[string]string{
	".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8",
}

// page serves a file of the page. It needs no key: the page asks for one.
func (s *service) page(x *exchange, r *http.Request) error {
	name := "web" + r.URL.Path
	if r.URL.Path == "/" {
		name = "web/index.html"
	}
	content, err := web.ReadFile(name)
	if err != nil {
		return err
	}
	// Nothing from elsewhere: neither scripts nor anything that they would send.
	x.Header().Set("Content-Security-Policy",
		"default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; frame-ancestors 'none'; form-action 'none'")
	x.Header().Set("Cache-Control", "no-cache")
	return writeBody(x, http.StatusOK, contentTypes[path.Ext(name)], content)
}

type listedModel struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Created int64  `json:"created"`
	OwnedBy string `json:"owned_by"`
	// Tasks and what follows are not OpenAI's.
	Tasks     []task `json:"tasks"`
	Family    string `json:"family"`
	Precision string `json:"precision"`
	MaxLength int    `json:"max_length"`
	Dimension int    `json:"dimension"`
	CanChat   bool   `json:"can_chat"`
}

func listed(m *model) listedModel {
	p := m.properties
	return listedModel{m.name, "model", m.loaded.Unix(), "kinglet", m.tasks, p.Family, p.Precision.String(), p.MaxLength, p.Dimension, p.CanChat}
}

func (s *service) listModels(x *exchange, _ *http.Request) error {
	list := struct {
		Object string        `json:"object"`
		Data   []listedModel `json:"data"`
	}{"list", []listedModel{}}
	for _, m := range x.models {
		list.Data = append(list.Data, listed(m))
	}
	return writeJSON(x, http.StatusOK, list)
}

func (s *service) oneModel(x *exchange, r *http.Request) error {
	m, err := x.named(r)
	if err != nil {
		return err
	}
	return writeJSON(x, http.StatusOK, listed(m))
}
