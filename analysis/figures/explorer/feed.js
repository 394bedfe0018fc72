// Hands an explorer on the page what it asked for.

export default function feed({ data }) {
  const bytes = new Uint8Array(data), length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
  const { content } = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length)));
  const explorer = globalThis.sinkscopeExplorers?.get(content);
  if (explorer) explorer.receive(bytes);
  else (globalThis.sinkscopeFeeds ??= new Map()).set(content, bytes); // for an explorer that is about to be drawn
}
