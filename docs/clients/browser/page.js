// The page's part: who types what, and where it is shown. All text from outside goes in as text, never as HTML.

import { Gateway } from "./gateway.js";

const ADDRESS = "ws://127.0.0.1:8080/v1/connect"; // fixed on purpose: never from the page's own address
const MOST = 200; // events that are shown

const at = (id) => document.getElementById(id);
let gateway = null;

at("login").addEventListener("submit", (event) => {
  event.preventDefault();
  gateway?.close();
  const session = (gateway = new Gateway(ADDRESS, at("token").value, `page-${crypto.randomUUID()}`));
  at("token").value = "";
  let subscribed = false;
  session.onState = (state, what) => {
    at("state").textContent = state === "open" ? "connected" : `${state} ${what.reason ?? ""}`;
    at("ask").querySelector("button").disabled = state !== "open";
    if (state === "open" && !subscribed) {
      subscribed = true;
      session.subscribe("all", { allTypes: true }, show).catch(tell);
    }
  };
  session.connect();
});

at("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  at("answer").textContent = "";
  gateway
    .send(at("agent").value, at("text").value, (piece) => at("answer").append(piece))
    .then((whole) => (at("answer").textContent = whole), tell);
});

function show(event) {
  const item = document.createElement("li");
  item.textContent = JSON.stringify(event);
  at("events").prepend(item);
  while (at("events").childElementCount > MOST) at("events").lastElementChild.remove();
}

function tell(error) {
  at("state").textContent = error.message ?? error.reason;
}
