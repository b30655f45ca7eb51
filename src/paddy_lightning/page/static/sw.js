// Keeps all that the page needs, so that it works without a network after the first visit. Another
// version of any file is another cache; it takes over when the page is next opened.
const VERSION = "$version";
const FILES = $files;
const CACHE = `${self.registration.scope} ${VERSION}`;

self.addEventListener("install", (event) => {
  const fresh = FILES.map((file) => new Request(file, { cache: "no-cache" }));
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(fresh)));
});

self.addEventListener("activate", (event) => {
  event.waitUntil(
    (async () => {
      const own = (await caches.keys()).filter((key) => key.startsWith(`${self.registration.scope} `));
      await Promise.all(own.filter((key) => key !== CACHE).map((key) => caches.delete(key)));
      await self.clients.claim();
    })(),
  );
});

self.addEventListener("fetch", (event) => {
  if (event.request.method !== "GET") return;
  event.respondWith(
    (async () => {
      const cache = await caches.open(CACHE);
      return (await cache.match(event.request, { ignoreSearch: true })) ?? fetch(event.request);
    })(),
  );
});
