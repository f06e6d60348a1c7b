"""MCUboot's published development keys: anyone can sign with them, so nobody may trust them.

Their private halves lie in MCUboot's repository, and its example configurations use them
(GHSA-gcxh-546h-phg4). The hashes are KEYHASH values: SHA-256 of the public key as MCUboot
encodes it, computed with `imgtool getpubhash` from the PEM files named here, at MCUboot
2d4bacc3 (July 2026).
"""

from __future__ import annotations

from typing import Final

PUBLISHED_KEYS: Final = {
    bytes.fromhex(key_hash): name
    for name, key_hash in {
        "root-ec-p256": "e30466f6b8470c1f29070b17f1e2d3e94d445e3f608087fdc711e4382bb538b6",
        "root-rsa-2048": "fc5701dc6135e1323847bdc40f04d2e5bee5833b23c29f93593d00018cfa9994",
        "root-rsa-3072": "449793fb65cd7698753d5b3f35fab15f1e3a45111ff24e1d46741de5ae12d59e",
        "root-ed25519": "c1907fa4eac7fae3840a78902b6f0710b037e9968e5c6274a12a28790c7d4e3c",
        "root-ed25519-2": "6754edab1e29affef4a05935adecbeb1a7b8b62397b31e39a61b5bfcaafd63af",
        "root-ed25519-unknown": "b1d87d60173352b9a4808979790fc699fb4c4f83b49cf1970edd96ff4adc36a6",
        "cypress-test-ec-p256": "bb868a727f0ef75e890a6a52bccd1d936fb34438afd6f237e8af259865742446",
        "bad-ec-p256": "e6c097daf1458d0f8b8d43fc4b4b9d4425203484b3afe5570ed074073901bab0",
        "bad-rsa-2048": "e32a93d4ef8c5f4d503642e2cc7c5eece7693e3246c7766dbb4b54d79441db2a",
        "mynewt key_ec256": "6dc968724fdedb71be7c8ad62540ea148996f96adb5c48e9cc3112c588f26d89",
        "mynewt key_ec256_2": "1c35c9ccb929906e7792eda384825b41be700c50760493eaf163135933e191aa",
        "mynewt key_rsa": "263e1b46f29ad5add6fc438abbf6bf227da6d6ff8736a7d654301c19f7fc8c46",
        "mynewt key_rsa_2": "6347a153696d6c91eaa335290a6115063be9066f665e17a6b7a1da4c5e24e5a7",
        "enc-ec256-priv": "3c23fc4e1d332a0c86e6a8bf6ecf26046d702302e135bf53fc04a009a33a78c5",
        "enc-rsa2048-priv": "5ac4d62dc5efbed57e705f61b5f2df8e2b73ec5a573c1582144e38131f4c62d7",
        "enc-x25519-priv": "9a1dc1eb80199d8498f2a75dde0a7b75216e8302bf3a12bd04f153f48f3f24a0",
    }.items()
}
