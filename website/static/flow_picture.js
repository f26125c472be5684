// The picture on the front page: draws of the base, moved by the slider through the layers of a trained flow.
document.addEventListener("DOMContentLoaded", () => {
  const box = document.getElementById("flow-picture");
  if (!box) return;
  const { scale, quadrant, frames } = window.flowPicture;
  const canvas = box.querySelector("canvas"), slider = box.querySelector("input");
  const button = box.querySelector("button"), label = box.querySelector("output");
  const colours = ["#4477aa", "#cc6677", "#bb8800", "#228833"];
  const last = frames.length - 1, reach = 3.4;
  slider.max = last;

  function draw() {
    const at = Number(slider.value), k = Math.min(Math.floor(at), last - 1), t = at - k;
    const size = canvas.clientWidth, ratio = window.devicePixelRatio || 1, ink = canvas.getContext("2d");
    canvas.width = canvas.height = size * ratio;
    ink.scale(ratio, ratio);
    for (let i = 0; i < quadrant.length; i++) {
      const place = (d) => (1 - t) * frames[k][2 * i + d] / scale + t * frames[k + 1][2 * i + d] / scale;
      ink.fillStyle = colours[quadrant[i]];
      ink.beginPath();
      ink.arc(size * (0.5 + place(0) / (2 * reach)), size * (0.5 - place(1) / (2 * reach)), size / 220, 0, 7);
      ink.fill();
    }
    const near = Math.round(at);
    label.textContent = near === 0 ? "the base" : near === last ? "the data's density" : `after layer ${near} of ${last}`;
    slider.setAttribute("aria-valuetext", label.textContent);
  }

  function play() {
    const begin = performance.now();
    (function frame(now) {
      // Each layer moves, then rests.
      const at = Math.max(0, now - begin) / 700, k = Math.floor(at), t = Math.min(1, (at - k) * 1.6);
      slider.value = Math.min(last, k + t * t * (3 - 2 * t));
      draw();
      if (Number(slider.value) < last) requestAnimationFrame(frame);
    })(begin);
  }

  slider.addEventListener("input", draw);
  button.addEventListener("click", play);
  window.addEventListener("resize", draw);
  slider.value = last;
  draw();
  if (!window.matchMedia("(prefers-reduced-motion: reduce)").matches) play();
});
