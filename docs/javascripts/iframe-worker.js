// A page that is opened from the disk may not start a worker, and the search is one. There, the
// worker's script runs in a hidden frame instead. The theme knows the file by its name.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.body.append(frame);
      const inside = frame.contentWindow;
      inside.postMessage = data => this.dispatchEvent(new MessageEvent("message", { data }));
      const script = inside.document.createElement("script");
      // What is sent before the script runs waits for it.
      this.started = new Promise(resolve => { script.onload = () => resolve(inside); });
      script.src = url;
      inside.document.body.append(script);
    }
    postMessage(data) {
      this.started.then(inside => inside.dispatchEvent(new MessageEvent("message", { data })));
    }
  };
}
