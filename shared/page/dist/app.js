/* The page is not built: layout.js?v=000000000000 */
