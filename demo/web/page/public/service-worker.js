// Keeps the page, the engine and the models, so that all works without a network once it was loaded.
const CACHE = "steadystyle-1";

self.addEventListener("install", (event) => {
  self.skipWaiting();
  event.waitUntil(
    (async () => {
      const cache = await caches.open(CACHE);
      const files = await (await fetch("files.json", { cache: "no-cache" })).json();
      await cache.addAll([...files, "manifest.webmanifest", "icon.svg"]);
    })(),
  );
});

self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

self.addEventListener("fetch", (event) => {
  const url = new URL(event.request.url);
  if (event.request.method !== "GET" || url.origin !== location.origin) return;
  // Names of assets and models hold a hash of their content: what was kept is right for ever.
  const hashed = /\/(assets|models)\//.test(url.pathname);
  event.respondWith(hashed ? fromCacheFirst(event.request) : fromNetworkFirst(event.request));
});

async function fromCacheFirst(request) {
  return (await caches.match(request)) ?? (await fetchAndKeep(request));
}

async function fromNetworkFirst(request) {
  try {
    return await fetchAndKeep(request);
  } catch (error) {
    const kept = await caches.match(request, { ignoreSearch: true }); // the address may carry the token
    if (kept) return kept;
    throw error;
  }
}

async function fetchAndKeep(request) {
  const response = await fetch(request);
  if (response.ok && !new URL(request.url).search) {
    const kept = response.clone();
    const cache = await caches.open(CACHE);
    cache.put(request, kept).catch(() => undefined); // no room: then it is fetched again
  }
  return response;
}
