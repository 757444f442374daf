// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"maps"
	"os"
	"os/exec"
	"slices"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/avi-l4-operator/avi-l4-operator/hack/demo/stage"
)

// chromium finds the browser, where hack/install-chromium.sh looks too.
func chromium() (string, error) {
	for _, name := range []string{os.Getenv("CHROMIUM"), "chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if path, err := exec.LookPath(name); name != "" && err == nil {
			return path, nil
		}
	}
	return "", errors.New("no Chromium on this machine: hack/install-chromium.sh installs Debian's, or name one in CHROMIUM")
}

// page takes pictures of the simulator's page, on a desktop and on a phone, with a virtual service opened, one of whose servers is down.
func page(ctx context.Context, s *scene, o *options) error {
	path, err := chromium()
	if err != nil {
		return err
	}
	profile, err := os.MkdirTemp("", "pictures-chromium")
	if err != nil {
		return err
	}
	defer os.RemoveAll(profile)
	ctx, cancelBrowser := chromedp.NewExecAllocator(ctx, chromedp.ExecPath(path), chromedp.UserDataDir(profile), chromedp.Headless,
		chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun, chromedp.WSURLReadTimeout(time.Minute),
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true), chromedp.Flag("disable-dev-shm-usage", true), chromedp.Flag("hide-scrollbars", true))
	defer cancelBrowser()
	ctx, cancelTab := chromedp.NewContext(ctx)
	defer cancelTab()
	name := s.ObjectName(namespace, "amf-1")
	for _, p := range []struct {
		file          string
		width, height int64
		search        string
	}{{"page-desktop.png", 1300, 860, ""}, {"page-phone.png", 390, 844, "amf-1"}} {
		if err := chromedp.Do(ctx, chromedp.EmulateViewport(p.width, p.height), chromedp.Navigate(s.Page)); err != nil {
			return err
		}
		if err := s.show(ctx, name, p.search); err != nil {
			return fmt.Errorf("%s: %w", p.file, err)
		}
		picture, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
		if err != nil {
			return err
		}
		if picture, err = smaller(picture); err != nil {
			return err
		}
		if err := o.save(p.file, picture); err != nil {
			return err
		}
	}
	return nil
}

// show opens a virtual service on the page, which may be searched for.
func (s *scene) show(ctx context.Context, name, search string) error {
	vs := fmt.Sprintf(`[...document.querySelectorAll(".vs")].find((e) => e.dataset.name === %q)`, name)
	for _, step := range []struct{ what, holds, do string }{
		{"the page is live", `document.querySelector("#live").dataset.state === "on"`,
			fmt.Sprintf(`{ const e = document.querySelector("#search"); e.value = %q; e.dispatchEvent(new Event("input", { bubbles: true })); }`,
				search)},
		{"the virtual service is listed", "!!" + vs, vs + `.querySelector(".head").click()`},
		{"it is open", "!" + vs + `.querySelector(".body").hidden`, `document.activeElement.blur()`},
	} {
		bounded, cancel := context.WithTimeout(ctx, 20*time.Second)
		err := stage.Until(bounded, step.what, func(ctx context.Context) error {
			holds, err := chromedp.Run(ctx, chromedp.Evaluate[bool](step.holds))
			if err == nil && !holds {
				err = errors.New("not yet")
			}
			return err
		})
		cancel()
		if err != nil {
			return err
		}
		if err := chromedp.Do(ctx, chromedp.Evaluate[chromedp.Void](step.do)); err != nil {
			return err
		}
	}
	time.Sleep(2 * time.Second) // what changed flashes for a moment
	return nil
}

// smaller is a picture in PNG with a palette of 256 colors. Each other one becomes the one that is most like it.
func smaller(picture []byte) ([]byte, error) {
	full, err := png.Decode(bytes.NewReader(picture))
	if err != nil {
		return nil, err
	}
	counts := map[color.RGBA]int{}
	each(full.Bounds(), func(x, y int) { counts[rgba(full.At(x, y))]++ })
	reduced := image.NewPaletted(full.Bounds(), paletteOf(counts))
	index := map[color.RGBA]uint8{}
	each(full.Bounds(), func(x, y int) {
		c := rgba(full.At(x, y))
		if _, ok := index[c]; !ok {
			index[c] = uint8(reduced.Palette.Index(c)) //nolint:gosec // there are 256 at most
		}
		reduced.SetColorIndex(x, y, index[c])
	})
	var out bytes.Buffer
	err = (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&out, reduced)
	return out.Bytes(), err
}

// paletteOf has a color of each kind that there is, so that a small red dot stays red, and then the most frequent ones, so that what is
// large stays smooth. A kind are those whose channels have the same two or three highest bits.
func paletteOf(counts map[color.RGBA]int) color.Palette {
	frequent := slices.SortedFunc(maps.Keys(counts), func(a, b color.RGBA) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a.R, b.R), cmp.Compare(a.G, b.G), cmp.Compare(a.B, b.B))
	})
	var kinds []color.RGBA
	for _, mask := range []uint8{0xe0, 0xc0} {
		kinds = kinds[:0]
		seen := map[color.RGBA]bool{}
		for _, c := range frequent {
			if kind := (color.RGBA{R: c.R & mask, G: c.G & mask, B: c.B & mask}); !seen[kind] {
				seen[kind], kinds = true, append(kinds, c)
			}
		}
		if len(kinds) <= 192 {
			break
		}
	}
	var out color.Palette
	for _, c := range append(kinds, frequent...) {
		if len(out) < 256 && (len(out) < len(kinds) || !slices.Contains(kinds, c)) {
			out = append(out, c)
		}
	}
	return out
}

func rgba(c color.Color) color.RGBA { return color.RGBAModel.Convert(c).(color.RGBA) }

func each(r image.Rectangle, do func(x, y int)) {
	for y := r.Min.Y; y < r.Max.Y; y++ {
		for x := r.Min.X; x < r.Max.X; x++ {
			do(x, y)
		}
	}
}
