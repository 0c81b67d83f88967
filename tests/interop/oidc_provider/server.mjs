// npm oidc-provider as an authorization server for machines: client credentials, resource
// indicators (RFC 8707), JWT access tokens (RFC 9068).
//
// node server.mjs MODULES KEYS PORT KID:ALG...
//
// Signs with the first key and publishes all. A key lives in the directory KEYS from the first
// start that names it, so starting again with other names is a rotation. Where that directory has
// client-keys.json, there is a client that signs its assertions. With TLS_PORT there is one that shows
// a certificate there; server.crt, server.key and ca.crt are in the directory then.

import { generateKeyPairSync } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const [modules, directory, port, ...names] = process.argv.slice(2);
const entrance = join(modules, 'oidc-provider', 'lib', 'index.js');
const { default: Provider } = await import(pathToFileURL(entrance));

const MAKE = {
  ES256: () => generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  EdDSA: () => generateKeyPairSync('ed25519'),
};

function key(name) {
  const [kid, alg] = name.split(':');
  const file = join(directory, `${kid}.json`);
  if (!existsSync(file)) {
    const jwk = MAKE[alg]().privateKey.export({ format: 'jwk' });
    writeFileSync(file, JSON.stringify({ ...jwk, kid, alg, use: 'sig' }));
  }
  return JSON.parse(readFileSync(file));
}

const keys = names.map(key);
const [{ alg }] = keys;

const MACHINE = {
  grant_types: ['client_credentials'],
  redirect_uris: [],
  response_types: [],
  id_token_signed_response_alg: alg, // it issues none, and still must have a key for them
};
const clients = [{ ...MACHINE, client_id: 'reporter', client_secret: 'reporter-secret' }];

const clientKeys = join(directory, 'client-keys.json');
if (existsSync(clientKeys)) {
  clients.push({
    ...MACHINE,
    client_id: 'signing-service',
    token_endpoint_auth_method: 'private_key_jwt',
    jwks: JSON.parse(readFileSync(clientKeys)),
  });
}

const hasTls = process.env.TLS_PORT !== undefined;
if (hasTls) {
  clients.push({
    ...MACHINE,
    client_id: 'certified-service',
    token_endpoint_auth_method: 'tls_client_auth',
    tls_client_auth_san_dns: 'certified-service.shop.test',
  });
}

const provider = new Provider(`http://127.0.0.1:${port}`, {
  jwks: { keys },
  cookies: { keys: ['for tests'] },
  clients,
  clientAuthMethods: ['client_secret_basic', 'private_key_jwt', ...(hasTls ? ['tls_client_auth'] : [])],
  features: {
    mTLS: {
      enabled: hasTls,
      tlsClientAuth: true,
      getCertificate: ({ socket }) => socket.getPeerX509Certificate?.(),
      certificateAuthorized: ({ socket }) => socket.authorized,
      certificateSubjectMatches: ({ socket }, _property, expected) =>
        socket.getPeerX509Certificate().checkHost(expected) !== undefined,
    },
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (_context, resource) => ({
        scope: 'profile.read profile.write',
        audience: resource,
        accessTokenFormat: 'jwt',
        accessTokenTTL: 300,
        jwt: { sign: { alg } },
      }),
    },
  },
});

if (hasTls) {
  const names = ['server.crt', 'server.key', 'ca.crt'];
  const [cert, key, ca] = names.map((name) => readFileSync(join(directory, name)));
  const options = { cert, key, ca, requestCert: true, rejectUnauthorized: false };
  const server = createTlsServer(options, provider.callback());
  const tlsPort = Number(process.env.TLS_PORT);
  await new Promise((listening) => server.listen(tlsPort, '127.0.0.1', listening));
}

createServer(provider.callback()).listen(Number(port), '127.0.0.1', () => {
  console.log(`serving on ${port}`);
});
